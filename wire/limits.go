package wire

import "time"

// Limits bounds what connections may cost. The zero value of a field means the default named beside it.
type Limits struct {
	// MaxConnections bounds the connections of a Server; beyond it nothing is accepted until one closes
	// (max.connections; 0: no limit).
	MaxConnections int
	// MaxPerIP bounds the connections of one address (max.connections.per.ip); one more is accepted and closed at once
	// (rule 1.6.3). 0: no limit; negative: none but those of PerIP, which is what Kafka's 0 means.
	MaxPerIP int
	// PerIP overrides MaxPerIP for single addresses (max.connections.per.ip.overrides); 0 is none there.
	PerIP map[string]int
	// AcceptRate bounds new connections per second (max.connection.creation.rate; 0: no limit).
	AcceptRate int
	// MaxFrame bounds every frame in bytes (socket.request.max.bytes, 100 MiB; rule 1.1.2).
	MaxFrame int32
	// Memory bounds the bytes that frames too large for a read buffer may hold together (queued.max.request.bytes,
	// 256 MiB). When it is used up readers wait, but one frame may always pass.
	Memory int64
	// Idle closes a connection on which nothing moves and no request is in progress (connections.max.idle.ms,
	// 10 min; rule 1.6.2).
	Idle time.Duration
	// Stall closes a connection whose peer stops in the middle of a frame, or does not take its replies (30 s).
	Stall time.Duration
}

// Defaults of Limits.
const (
	defaultMaxFrame = 100 << 20
	defaultMemory   = 256 << 20
	defaultIdle     = 10 * time.Minute
	defaultStall    = 30 * time.Second
)

func (l Limits) withDefaults() Limits {
	if l.MaxFrame <= 0 {
		l.MaxFrame = defaultMaxFrame
	}
	if l.Memory <= 0 {
		l.Memory = defaultMemory
	}
	if l.Idle <= 0 {
		l.Idle = defaultIdle
	}
	if l.Stall <= 0 {
		l.Stall = defaultStall
	}
	return l
}

// admits reports whether an address that has n connections may have another.
func (l *Limits) admits(ip string, n int) bool {
	if most, ok := l.PerIP[ip]; ok {
		return n < most
	}
	return l.MaxPerIP == 0 || n < l.MaxPerIP
}
