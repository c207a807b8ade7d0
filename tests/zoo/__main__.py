"""Runs the zoo, and writes its table: `python -m tests.zoo [-o RESULTS.json] [--from RESULTS.json] [NAME …]`.

Without names it runs everything, and replaces README.md and outcomes.json here. `--from` takes the results of
an earlier run in place of a new one.
"""

import argparse
import json
import tempfile
from pathlib import Path

from tests.zoo import report
from tests.zoo.run import run_zoo


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.zoo", description=__doc__)
    parser.add_argument("-o", type=Path, help="keep the raw results there")
    parser.add_argument("--from", dest="earlier", type=Path, help="raw results of an earlier run")
    parser.add_argument("names", nargs="*", help="only these architectures; writes no table")
    arguments = parser.parse_args()
    if arguments.earlier:
        results = json.loads(arguments.earlier.read_text())
    else:
        with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
            results = run_zoo(Path(folder), arguments.names, say=lambda line: print(line, flush=True))
    if arguments.o:
        arguments.o.write_text(json.dumps(results, indent=1))
    if not arguments.names:
        report.README.write_text(report.render(results), encoding="utf-8")
        report.OUTCOMES.write_text(report.dumped(report.outcomes(results)), encoding="utf-8")
    print(f"{report.in_one_line(results)}; {results['seconds']:.0f} s")


if __name__ == "__main__":
    main()
