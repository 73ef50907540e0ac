// Package twin plays the same requests to a real Apache Kafka and to kbroker and compares their answers. Kafka is the
// judge: a script says what to send, never what a right answer would be.
//
// # Running
//
//	go test ./integration/twin                      Kafka against kbroker, every script
//	go test ./integration/twin -run Twin/produce    only testdata/produce.twin
//	go test ./integration/twin -run Twin/produce/bad-crc/v7
//	go test ./integration/twin -self                Kafka against another Kafka: shows that the scripts are deterministic
//	go test ./integration/twin -explain -v -run …   prints Kafka's answers, for writing a script
//	go test ./integration/twin -kafka ADDR -kbroker ADDR    against brokers that run already
//
// # Scripts
//
// There is one file per API in testdata, named after it, and a few more about what several APIs do together. A file names its API and holds cases; each case is played once
// for every version of the API that kbroker serves, or for those that the case names, on fresh connections:
//
//	api Produce
//
//	# Rule 2.4.4: damaged bytes are CORRUPT_MESSAGE.
//	case bad-crc v3+
//	topic t
//	Produce {
//	  Acks: -1 TimeoutMillis: 5000
//	  Topics: [{ $t Partitions: [{ Partition: 0 Records: flip(-1, batch(k:v)) }] }]
//	} => CORRUPT_MESSAGE
//
// A line is a step; it goes on over line ends inside brackets, and a line that begins with "=>" or "eventually"
// continues the one before. Commas are white space. A # begins a comment.
//
// A request is an API's name as package kmsg has it, options, and a body by kmsg's field names on top of kmsg's defaults.
// Requests of the file's API have the version that is being played; others have the highest that Kafka serves unless a
// version is given, as in "Metadata v9 {…}". What may follow:
//
//	=> ok                        all error codes in Kafka's answer are 0 (the default: a slip in a script is noticed)
//	=> ERROR_A ERROR_B           exactly these error codes, besides 0, are in Kafka's answer
//	=> v0-5 ERROR_A | v6+ ok     the same by version
//	=> closed                    the connection is closed without an answer
//	=> none                      nothing comes back (acks=0); the next request on the connection shows it
//	differs => … "reason"        after the above: kbroker answers this instead, on purpose
//	eventually => …              send it again until the answer is as expected, for at most 30 seconds
//	eventually PATH == VALUE     … until the field has this value
//
// Options come before the body: client="x" or client=null, corr=N, tag=BYTES (the header's tag buffer), body=BYTES (in
// place of the encoded body), cut=N (drop the last N bytes), trailing=BYTES, as=vN (the version that the answer has).
//
// Other steps:
//
//	topic NAME [partitions=N] [config=value …]   create a topic, wait until it serves; $NAME is its name, $NAME.id its id
//	name NAME                                    $NAME is a name that no other case uses
//	group NAME [knows [$t …]]                    the same for a group id, once the broker coordinates that group and its
//	                                             coordinator has heard of the topics
//	producer NAME                                $NAME is a new producer id, $NAME.epoch its epoch
//	append $t BYTES [=> …]                       a Produce of the batch to partition 0 of a topic with acks=all
//	dump $t                                      a Fetch of all of partition 0
//	let NAME = PATH                              $NAME is a field of the last answer; each broker has its own value
//	send API …, recv [=> …]                      the two halves of a request, for requests that wait
//	quiet 200ms                                  nothing comes back within this time
//	frame BYTES [as API vN] [=> …]               these bytes, size included; closed is expected unless "as" is there
//	close                                        close the connection
//	mask PATH KIND "reason"                      a mask for this case only (see below)
//
// A step that begins with "a:" uses connection a of the case instead of the unnamed one. A connection is opened when it is
// first used, and again when it is used after it was closed.
//
// Values: numbers (1.5 and 1e6 where the field has fractions), "text with ${vars}", null, true, false, [lists], {fields: of structs}, $var, $var+1, now, now+5000,
// bare words as text. In a struct, a bare $t sets the topic's name and, where there is such a field, its id. "tags: {5:
// BYTES}" adds unknown tagged fields to a struct. times(N, value) inside a list repeats the value with $i counting up.
//
// Bytes:
//
//	x"00ff"  "text"  i8(1) i16(1) i32(1) i64(1)  varint(-1)  uvarint(300)  zero(10)  fill(10)
//	bytes(a, b, …)                               one after the other
//	batch(k:v, null:v, k:null{h:x}, k:v@5)       a record batch; @5 is a timestamp delta, {…} headers
//	batch(records=10, codec=gzip, …)             other arguments: codec, ts, maxts, pid, epoch, seq, base, leaderepoch, magic,
//	                                             attributes, lastdelta, count, payload, deltas=[…]
//	compress(gzip, bytes)                        for a payload whose records are not what they should be
//	subscription($t $u, owned=[0 1])             the metadata of a classic consumer; owned are partitions of the first topic, and
//	                                             other arguments version (1 if there is none), generation, rack
//	assignment($t, [0 1])                        what the leader of classic consumers gives one of them
//	legacy(1, k:v)                               a message of format 0 or 1
//	flip(AT, bytes)                              the lowest bit of one byte is flipped; AT may count from the end: -1
//	patch(AT, new, bytes)                        bytes are overwritten
//	seal(bytes)                                  the length and CRC of a batch are put right again
//	cut(N, bytes)                                the last N bytes are dropped
//
// # Comparing
//
// Answers are decoded with kmsg, encoded again to see that they are canonical, and printed one field per line. Record sets
// are printed batch by batch and record by record. Then the masks of testdata/masks.txt are applied, each of which gives
// its reason:
//
//	set     only whether the value is the default (0, -1, null, empty) is compared
//	role    like set, but a value that the case has captured prints as its name: the same id must come back on both sides
//	drop    the field is not compared
//	sort    the order of an array's rows is not compared
//	own     rows about topics and groups of other cases are left out, and the order of the others is not compared
//	text    whether there is a text is compared; kbroker may have one where Kafka has none
//	shared  rows that only Kafka has are left out, found by their first field
//	extra   rows for kbroker's own settings are left out
//
// # Coverage
//
// Every (key, version) that kbroker advertises must have a case that Kafka answers without an error and one that it
// refuses, or the test fails and names what is missing.
package twin
