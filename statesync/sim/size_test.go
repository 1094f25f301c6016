//go:build !race

package sim

const seedsByDefault = 10_000
