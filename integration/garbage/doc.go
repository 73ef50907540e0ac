// Package garbage attacks a live broker over the network, with what a broken or hostile client may send: random bytes,
// cut and oversized frames, lengths and tags that lie in every API, batches that unpack to far more than they weigh,
// and thousands of idle connections. It has tests only. They show that the broker stays up, that its memory stays
// bounded, and that a client beside all this does not notice.
package garbage
