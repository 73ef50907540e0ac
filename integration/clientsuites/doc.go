// Package clientsuites runs the test suites that Kafka's client libraries have for themselves against kbroker: those of
// franz-go, segmentio/kafka-go and confluent-kafka-go, each at the version that modules/ pins, compiled from the module
// cache. It has tests only.
//
// What is not run stands in testdata/*.txt with its reason. A test that skips itself must stand there too, and a name there
// that the library no longer has fails, so the lists can't rot. README.md has the commands.
package clientsuites
