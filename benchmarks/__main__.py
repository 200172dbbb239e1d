"""python -m benchmarks: time every subject. The baselines' workers import this file too, so it imports nothing first."""

import sys

if __name__ == "__main__":
    from benchmarks.command import main

    sys.exit(main())
