"""Times ONNX Runtime alone, on one thread: for each number on standard input, so many inferences.

    python inference.py MODEL LABELS PICTURE

Answers each line with a JSON list of milliseconds, so that another engine can be timed between two lines.
"""
import json
import sys
from pathlib import Path
from time import perf_counter_ns

from classifier import Classifier, prepare


def main() -> None:
    model, labels, picture = sys.argv[1:]
    classifier = Classifier(model, labels, threads=1)
    tensor = prepare(Path(picture).read_bytes())
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = perf_counter_ns()
            classifier.infer(tensor)
            times.append((perf_counter_ns() - start) / 1e6)
        print(json.dumps(times), flush=True)


main()
