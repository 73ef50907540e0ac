// Package connect lets Kafka Connect and MirrorMaker 2, unchanged, work on kbroker: it has tests only.
package connect
