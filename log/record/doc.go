// Package record is Kafka's RecordBatch format, version 2 ("magic 2"): viewing it, checking it, rewriting it, building
// it and searching in it. Message sets of the older formats 0 and 1 are recognised only to be refused (rule 2.6.1).
//
// # What it guarantees
//
//   - A [Batch] is a view of bytes that somebody else owns. Reading a field never copies and never allocates.
//   - [Validate] looks at every byte of a produced batch before it may reach a log: header, checksum, compressed
//     payload and each record (rules 2.4.1 to 2.4.13). What it lets through is what all of Kafka's clients can
//     read, not only some (see below). It rewrites in
//     place what the leader has to rewrite (rules 2.5.2 and 2.5.3); only another compression.type makes it build a new
//     batch (rule 2.5.4). An uncompressed batch costs one checksum, one walk and no allocation.
//   - Hostile input costs bounded memory and bounded time. Compressed payloads are decompressed as a stream through a
//     small window, and only so far (minTotal and minWhole say how far and why). A [Codecs] bounds how many
//     decompressors are at work at once.
//   - Nothing here keeps state of its own: pools and codecs belong to a [Codecs] value, which the broker owns, and
//     buffers to a [Scratch], which the caller owns.
//
// # Where it is stricter than Kafka
//
// Kafka 4.3.1 lets some batches into its log that only some of its own clients can read, and answers
// UNKNOWN_SERVER_ERROR to others. Validate refuses both kinds with INVALID_RECORD:
//
//   - offset deltas other than 0, 1, 2, … (rule 2.4.15); lengths below -1; varints with more bits than their field
//   - payloads with anything behind their end, but for gzip members and zstd frames in a row; LZ4 frames whose content
//     checksum is wrong, or that have an empty block, which Java's client takes for their end; snappy with the
//     extensions of S2
//   - payloads that do not decompress at all, and codecs that do not exist (rule 6.1.9)
//
// Payloads that expand beyond every reason are refused with MESSAGE_TOO_LARGE, to which producers react by splitting the
// batch. A batch that a producer marked as LogAppendTime is stored with the largest timestamp that its records have,
// where Kafka stores what the producer claimed (rule 2.4.10). A recompressed batch keeps its base timestamp and its
// records byte for byte, where Kafka encodes them anew.
//
// # Layout of a batch
//
// All integers are big endian. The header is [HeaderSize] bytes long (rule 2.1):
//
//	at size field
//	 0    8 baseOffset            given by the leader
//	 8    4 batchLength           bytes after this field
//	12    4 partitionLeaderEpoch  given by the leader
//	16    1 magic                 2
//	17    4 crc                   CRC-32C of everything from byte 21 on
//	21    2 attributes
//	23    4 lastOffsetDelta
//	27    8 baseTimestamp         the delete horizon when attribute bit 6 is set
//	35    8 maxTimestamp
//	43    8 producerId            -1 without one
//	51    2 producerEpoch         -1 without one
//	53    4 baseSequence          -1 without one
//	57    4 recordCount
//	61      records, compressed as one block when the codec is not "none"
//
// Because the checksum begins at byte 21, the leader gives offsets and its epoch without computing it anew (rule
// 2.1.1).
package record
