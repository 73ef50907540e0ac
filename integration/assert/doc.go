// Package assert makes the wire-level assertions about Kafka's behaviour that the project's specification numbers T001
// to T157, each as a test of that name: raw requests over TCP, written with kmsg and sent without a client library.
//
// Every assertion is made about a real Apache Kafka 4.3.1 and about kbroker, by the same code, so that none can hold on
// kbroker only because the specification was misread. The twin test beside it (package twin) compares answers field by
// field; this package says in words what must be true and why, and it also restarts brokers, kills them, and looks into
// their files. Where Kafka contradicts the specification Kafka is right, and the assertion says so in a comment. Where
// kbroker differs on purpose the assertion names the target that it is about.
//
// # Running
//
//	go test ./integration/assert                               Kafka 4.3.1 and kbroker
//	go test ./integration/assert -target kbroker               only kbroker; or only kafka
//	go test ./integration/assert -target kbroker -run //T03    some of them
//	go test ./integration/assert -target kbroker -address 127.0.0.1:9092
//
// With -address the assertions are made about a broker that runs already; those that start, stop or look into it are
// then left out, and a line says how many.
//
// # How a run goes
//
// Each target goes through the lives that type life lists. Within a life all assertions run at once, on topics of their own.
// Those that must be alone, since they watch the broker's memory, come before. An assertion that needs a restart waits at
// it for the others that need the same one, so that the whole suite starts Kafka four times only.
//
// leftout_test.go lists the numbers that are not asserted, each with its reason; a test sees to it that no number is
// missing from both lists.
package assert
