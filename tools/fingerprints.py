"""Remember the wording against which each check was reviewed: python tools/fingerprints.py [--write]

A check is written for a statement as it reads on a given day.  ledger/reviewed.json keeps a hash of that
wording; when the statement, or an assumption that it cites, changes afterwards, the tests fail until somebody
has read the check again and run `make ledger`, which calls this script.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import myst


def fingerprints(root: Path = myst.ROOT) -> dict[str, str]:
    """Label of each statement -> hash of its wording and of the assumptions that it cites, but for spaces."""
    found = [d for page in myst.pages(root) for text in myst.markdown(page) for d in myst.directives(text)]
    assumptions = {d.label: d for d in found if d.name == "prf:assumption"}
    result = {}
    for d in (d for d in found if d.is_statement):
        cited = sorted(set(myst.REFERENCE.findall(d.body)) & set(assumptions))
        words = [w for block in [d, *map(assumptions.get, cited)]
                 for w in (block.name, *block.argument.split(), *block.body.split())]
        result[d.label] = hashlib.sha256(" ".join(words).encode()).hexdigest()
    return result


def changed(root: Path = myst.ROOT) -> list[str]:
    """One line for each statement whose wording is not the reviewed one."""
    store = root / "ledger" / "reviewed.json"
    reviewed = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
    now = fingerprints(root)
    lines = [f"the statement of {label} {'changed' if label in reviewed else 'is new'}: "
             "read its check again, then run `make ledger`"
             for label in now if now[label] != reviewed.get(label)]
    return lines + [f"{label} is in ledger/reviewed.json but not in the book: run `make ledger`"
                    for label in reviewed if label not in now]


def main() -> int:
    if "--write" in sys.argv[1:]:
        text = json.dumps(dict(sorted(fingerprints().items())), indent=1) + "\n"
        (myst.ROOT / "ledger" / "reviewed.json").write_text(text, encoding="utf-8")
        print(f"ledger/reviewed.json: {text.count(':')} statements")
        return 0
    lines = changed()
    print("\n".join(lines) or "every statement reads as it did when its check was reviewed")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
