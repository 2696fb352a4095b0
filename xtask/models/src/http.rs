//! Asking a server for a file, and saying in one sentence what went wrong.

use anyhow::{Result, anyhow, bail};
use std::sync::Arc;
use std::time::Duration;
use ureq::http::{Response, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, Error};

/// A client that follows redirects and gives up on servers that say nothing.
pub struct Http {
    agent: Agent,
    timeout: Duration,
}

impl Http {
    /// `timeout` is for each step: finding the host, connecting, the answer's head, and every read of its body. A large
    /// file over a slow line may take as long as it takes.
    pub fn new(timeout: Duration, https_only: bool) -> Self {
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .root_certs(RootCerts::new_with_certs(&certificates()))
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .https_only(https_only)
            // The status is ours to judge: 416 is no failure, and a sentence says more than a number.
            .http_status_as_error(false)
            .user_agent(concat!("pinhole-xtask/", env!("CARGO_PKG_VERSION")))
            // Ranges and digests are of the file itself, not of a compressed form.
            .accept_encoding("identity")
            .timeout_resolve(Some(timeout))
            .timeout_connect(Some(timeout))
            .timeout_send_request(Some(timeout))
            .timeout_recv_response(Some(timeout))
            .timeout_per_read(Some(timeout))
            .build()
            .new_agent();
        Self { agent, timeout }
    }

    /// Asks for a file from the byte `from` on. Answers 200 (all of it), 206 (the rest) or 416 (there is no such rest);
    /// every other status is an error.
    pub fn get(&self, url: &str, from: u64) -> Result<Response<Body>> {
        let mut request = self.agent.get(url);
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let response = request
            .call()
            .map_err(|error| anyhow!(self.sentence(url, error)))?;
        match response.status().as_u16() {
            200 => Ok(response),
            206 | 416 if from > 0 => Ok(response),
            404 | 410 => bail!(
                "{url} is not there (status {}): check the address, or name another with --url.",
                response.status().as_u16()
            ),
            status => bail!(
                "{url} is not served (status {status}): try again later, or name a mirror with --url."
            ),
        }
    }

    /// Why a body ended early.
    pub fn broken(&self, error: std::io::Error) -> String {
        match Error::from(error) {
            Error::Timeout(_) => {
                format!(
                    "The server fell silent for {} s",
                    self.timeout.as_secs_f32()
                )
            }
            _ => "The connection broke".into(),
        }
    }

    fn sentence(&self, url: &str, error: Error) -> String {
        match error {
            Error::Timeout(_) => format!(
                "{url} did not answer within {} s: try again later, or name a mirror with --url.",
                self.timeout.as_secs_f32()
            ),
            Error::HostNotFound => format!(
                "The host of {url} cannot be found: check the network and the address, or name a mirror with --url."
            ),
            Error::TooManyRedirects => {
                format!("{url} redirects in circles: name a mirror with --url.")
            }
            Error::RequireHttpsOnly(to) => format!(
                "{url} redirects to {to}, which is not encrypted: name an address that starts with https:// with --url."
            ),
            Error::BadUri(_) | Error::Http(_) => {
                format!("{url} is not an address: one starts with https:// or http://.")
            }
            // An untrusted certificate, or a server that speaks something else.
            Error::Io(error)
                if error
                    .get_ref()
                    .is_some_and(|inner| inner.is::<rustls::Error>()) =>
            {
                format!(
                    "The encrypted connection to {url} failed ({error}): check the address, and this machine's CA certificates."
                )
            }
            Error::Io(error) => {
                format!("{url} cannot be reached ({error}): check the network and the address.")
            }
            other => format!(
                "{url} cannot be downloaded ({other}): try again later, or name a mirror with --url."
            ),
        }
    }
}

/// Where the part begins that an answer with status 206 has: `bytes 100-199/200` begins at 100.
pub fn range_start(response: &Response<Body>) -> Option<u64> {
    let range = response
        .headers()
        .get(header::CONTENT_RANGE)?
        .to_str()
        .ok()?;
    let (start, _) = range.strip_prefix("bytes ")?.trim_start().split_once('-')?;
    start.parse().ok()
}

/// The authorities that this machine trusts. One that cannot be read is as good as none.
fn certificates() -> Vec<Certificate<'static>> {
    let found = rustls_native_certs::load_native_certs().certs;
    let owned = found
        .iter()
        .map(|der| Certificate::from_der(der).to_owned());
    owned.collect()
}
