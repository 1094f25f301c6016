#!/bin/sh
# Runs every fuzz target of every package for the given time each: `make fuzz`.
# A package that does not build fails it, as a finding does.
set -eu
time=${1:-10m}
cd "$(dirname "$0")/.."
for package in $(go list ./...); do
	listed=$(go test -list '^Fuzz' "$package") || { echo "$listed"; exit 1; }
	for target in $(echo "$listed" | grep '^Fuzz' || :); do
		echo "fuzz: $package $target for $time"
		# Making an input that is merely new smaller must not eat the time.
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 5s "$package" </dev/null
	done
done
