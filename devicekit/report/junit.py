"""Results as JUnit XML: a test case per cell or check, for CI systems."""

import re
from xml.etree import ElementTree as ET

from devicekit.fleet.gate import GateResult
from devicekit.fleet.outcome import RunReport

# What XML 1.0 has no way to write.
_UNWRITABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(report: RunReport) -> str:
    """Returns a suite with a case per cell: a failed one is an error, one over its limits a failure."""
    suite = _suite(f"fleet run {report.run.id}", len(report.rows) + len(report.missing))
    for row in report.rows:
        taken = row.cell.taken
        case = _case(suite, row.cell.model, row.cell.device, seconds=taken.typical_us / 1e6 if taken else 0.0)
        if row.status == "does not fit":
            _add(case, "failure", row.why, row.remedy)
        elif taken is None:
            _add(case, "error" if row.status == "failed" else "skipped", row.why, row.remedy)
    for cell in report.missing:
        _add(_case(suite, cell.model, cell.device), "error", f"missing: was in {cell.run_id}", "")
    return _written(suite)


def render_gate(result: GateResult) -> str:
    """Returns a suite with a case per check."""
    suite = _suite(f"fleet gate {result.run.id}", len(result.checks))
    for check in result.checks:
        case = _case(suite, f"{check.model}.{check.kind}", check.device)
        if check.verdict == "FAIL":
            _add(case, "failure", check.words, check.look_at)
        elif check.verdict == "allowed":
            _add(case, "skipped", check.words, check.look_at)
        else:
            ET.SubElement(case, "system-out").text = _clean(check.words)
    return _written(suite)


def _suite(name: str, tests: int) -> ET.Element:
    return ET.Element("testsuite", name=name, tests=str(tests))


def _case(suite: ET.Element, model: str, device: str, *, seconds: float = 0.0) -> ET.Element:
    names = {"classname": f"devicekit.{_clean(model)}", "name": _clean(device), "time": f"{seconds:.6f}"}
    return ET.SubElement(suite, "testcase", names)


def _add(case: ET.Element, kind: str, message: str, remedy: str) -> None:
    ET.SubElement(case, kind, message=_clean(message)).text = _clean(remedy)


def _clean(text: str) -> str:
    return _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def _written(suite: ET.Element) -> str:
    counts = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    for name, kind in counts.items():
        suite.set(name, str(len(suite.findall(f"testcase/{kind}"))))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"
