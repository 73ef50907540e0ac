// Package config is every setting of the broker, once: its name, type, default, range, whether it can change at run
// time, and whether kbroker acts upon it.
//
// It guarantees that nothing is swallowed: each key that Kafka 4.3.1 knows either works, is accepted without effect and
// said so once, or is refused with what to do instead; and that what DescribeConfigs shows is what the broker acts upon,
// because both come from one table and one Store. The typed views, Broker and Topic, are values that never change.
//
// The tables are generated (go generate ./internal/config) from the facts in data/, which say what Kafka has, and from
// data/classes.tsv, which says what kbroker does with it.
package config

//go:generate go run ./gen
