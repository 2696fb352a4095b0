-- For wrk: posts one picture as the form's field `image`, and says what was measured as one line of JSON.
--   wrk -t1 -c4 -d4s -s bench/post.lua http://127.0.0.1:8000/predict -- cat.jpg

function init(args)
  local file = assert(io.open(args[1], "rb"), "there is no picture at " .. tostring(args[1]))
  local picture = file:read("*a")
  file:close()

  local border = "pinhole-bench-0123456789abcdef"
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "multipart/form-data; boundary=" .. border
  wrk.body = table.concat({
    "--" .. border,
    'Content-Disposition: form-data; name="image"; filename="picture.jpg"',
    "Content-Type: image/jpeg",
    "",
    picture,
    "--" .. border .. "--",
    "",
  }, "\r\n")
end

function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    '{"requests":%d,"failed":%d,"duration_us":%d,"p50_us":%d,"p90_us":%d,"p99_us":%d,"max_us":%d}\n',
    summary.requests, failed, summary.duration,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max
  ))
end
