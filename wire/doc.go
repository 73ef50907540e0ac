// Package wire moves Kafka frames over connections: it reads requests, hands them to a Session in arrival order, and
// writes the replies in the same order (rule 1.5.1), within limits on frame sizes, connections and memory.
//
// A request has two stages. Stage one, Session.Start, runs on the connection's reader: whatever the request changes it
// changes there, so effects happen in arrival order. Stage two is the Reply: a writer encodes and writes it when it is
// complete. A reply that is complete and first in line is written by the reader itself, and a connection has no writer
// goroutine while no reply has to be waited for, nor while all that wait say themselves when they are complete (Late).
//
// Many frames are taken per read and the replies of all of them leave in one write: Session.Flush is called between the
// two, which lets a Session join the effects of pipelined requests. An idle connection holds no buffer: the reader waits
// for readability first and takes a pooled buffer then.
//
// wire knows nothing of what an API means; handler does.
package wire
