#!/bin/sh
# Runs every fuzz target of every package for the given time each: `make fuzz`.
set -eu
time=${1:-10m}
cd "$(dirname "$0")/.."
go list ./... | while read -r package; do
	go test -list '^Fuzz' "$package" | grep '^Fuzz' | while read -r target; do
		echo "fuzz: $package $target for $time"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package" </dev/null
	done
done
