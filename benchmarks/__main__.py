"""python -m benchmarks: time every subject. Workers of the baselines import this file too: it imports nothing more."""

import sys

if __name__ == "__main__":
    from benchmarks.command import main

    sys.exit(main())
