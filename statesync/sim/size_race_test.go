//go:build race

package sim

const seedsByDefault = 1_000
