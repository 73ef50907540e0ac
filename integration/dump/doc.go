// Package dump lets Kafka read the data directory of a kbroker process that real clients wrote to: its dump tool goes
// over every segment, index and snapshot, and its own classes over every checkpoint, after an orderly stop and after a
// kill. It has tests only. What package dumptool shows for the files of one log, this shows for what a broker leaves.
package dump
