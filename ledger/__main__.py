"""Print the ledger and exit with 1 if a statement fails: ``python -m ledger``."""

import sys

import ledger


def main() -> int:
    records = ledger.records()
    for r in records:
        print(
            f"{'pass' if r.passed else 'FAIL'}  {r.label:32s} {r.instances:3d} instances  "
            f"residual {r.residual:.1e}  tolerance {r.tolerance:.0e}"
        )
        for hypothesis, what, residual in r.violations:
            print(f"        without {hypothesis}: {what}: {residual:.1e}")
        for what, residual in r.perturbations:
            print(f"        wrong on purpose: {what}: {residual:.1e}")
    return 0 if all(r.passed for r in records) else 1


if __name__ == "__main__":
    sys.exit(main())
