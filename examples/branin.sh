#!/usr/bin/env bash
# A trial that knows nothing of protein-sky: parameters come as --name=value, and one line on
# stdout is its result. Branin's function has three minima of 0.397887.
#
#   bash examples/branin.sh --x=3.14159 --y=2.275
set -euo pipefail

for argument in "$@"; do
    case "$argument" in
        --x=*) x="${argument#*=}" ;;
        --y=*) y="${argument#*=}" ;;
    esac
done

awk -v x="$x" -v y="$y" 'BEGIN {
    pi = atan2(0, -1)
    hill = y - 5.1 * x^2 / (4 * pi^2) + 5 * x / pi - 6
    printf "PROTEIN_RESULT {\"value\": %.6f}\n", hill^2 + 10 * (1 - 1 / (8 * pi)) * cos(x) + 10
}'
