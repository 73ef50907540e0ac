package config

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
)

// rootLogger is the name of the level that loggers without their own have.
const rootLogger = "root"

// levelNames are Kafka's levels, the lowest first.
var levelNames = []struct {
	name  string
	level slog.Level
}{
	{"TRACE", slog.LevelDebug - 4}, {"DEBUG", slog.LevelDebug}, {"INFO", slog.LevelInfo},
	{"WARN", slog.LevelWarn}, {"ERROR", slog.LevelError}, {"FATAL", slog.LevelError + 4},
}

func levelName(l slog.Level) string {
	name := levelNames[0].name
	for _, n := range levelNames {
		if n.level <= l {
			name = n.name
		}
	}
	return name
}

// Loggers owns the levels of a broker's loggers, which are resources of their own in DescribeConfigs and
// IncrementalAlterConfigs (type 8). They are of this process: nothing keeps them.
type Loggers struct {
	out  slog.Handler
	root slog.LevelVar

	mu     sync.Mutex // guards byName
	byName map[string]*loggerLevel
}

// NewLoggers returns loggers that write to out, which must not filter by level itself, from level on.
func NewLoggers(out slog.Handler, level slog.Level) *Loggers {
	l := &Loggers{out: out, byName: map[string]*loggerLevel{}}
	l.root.Set(level)
	return l
}

// Logger returns the logger called name.
func (l *Loggers) Logger(name string) *slog.Logger {
	return slog.New(&leveled{l.out, l.level(name)}).With("logger", name)
}

func (l *Loggers) level(name string) *loggerLevel {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byName[name] == nil {
		l.byName[name] = &loggerLevel{root: &l.root}
	}
	return l.byName[name]
}

// loggerLevel is the level of one logger: its own, or the root's.
type loggerLevel struct {
	root *slog.LevelVar
	own  atomic.Pointer[slog.Level]
}

// Level returns the level in effect.
func (l *loggerLevel) Level() slog.Level {
	if own := l.own.Load(); own != nil {
		return *own
	}
	return l.root.Level()
}

// leveled filters records by level.
type leveled struct {
	out   slog.Handler
	level slog.Leveler
}

func (h *leveled) Enabled(_ context.Context, l slog.Level) bool    { return l >= h.level.Level() }
func (h *leveled) Handle(ctx context.Context, r slog.Record) error { return h.out.Handle(ctx, r) }
func (h *leveled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &leveled{h.out.WithAttrs(attrs), h.level}
}
func (h *leveled) WithGroup(name string) slog.Handler {
	return &leveled{h.out.WithGroup(name), h.level}
}

// Describe lists the loggers and their levels by name.
func (l *Loggers) Describe(filter Filter) []Entry {
	levels := map[string]slog.Level{rootLogger: l.root.Level()}
	l.mu.Lock()
	for name, level := range l.byName {
		levels[name] = level.Level()
	}
	l.mu.Unlock()
	var entries []Entry
	for name, level := range levels {
		if filter.selects(name) {
			text := levelName(level)
			entries = append(entries, Entry{Name: name, Value: &text, Source: DynamicBrokerLogger})
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	return entries
}

// Alter checks all alterations, and then, unless validateOnly, sets the levels. DELETE gives a logger the root's level.
func (l *Loggers) Alter(alterations []Alteration, validateOnly bool) error {
	for _, a := range alterations {
		if err := l.check(a); err != nil {
			return err
		}
	}
	if validateOnly {
		return nil
	}
	for _, a := range alterations {
		switch {
		case a.Op == Delete:
			l.level(a.Name).own.Store(nil)
		case a.Name == rootLogger:
			l.root.Set(levelCalled(*a.Value))
		default:
			level := levelCalled(*a.Value)
			l.level(a.Name).own.Store(&level)
		}
	}
	return nil
}

func (l *Loggers) check(a Alteration) error {
	if a.Op == Append || a.Op == Subtract {
		return refusal(kerr.InvalidRequest, "%s: the level of a logger is no list: %s is not possible", a.Name, a.Op)
	}
	if a.Op == Delete && a.Name == rootLogger {
		return refusal(kerr.InvalidRequest, "the level of root cannot be deleted; set another one")
	}
	l.mu.Lock()
	_, known := l.byName[a.Name]
	names := slices.Sorted(maps.Keys(l.byName))
	l.mu.Unlock()
	if !known && a.Name != rootLogger {
		return refusal(kerr.InvalidConfig, "there is no logger %s; there are root and %v", a.Name, names)
	}
	if a.Op == Set && levelName(levelCalled(*a.Value)) != *a.Value {
		return refusal(kerr.InvalidConfig, "%s: %q is not a level; allowed: TRACE, DEBUG, INFO, WARN, ERROR, FATAL", a.Name, *a.Value)
	}
	return nil
}

// levelCalled returns the level called name, and the lowest for a name that is none.
func levelCalled(name string) slog.Level {
	for _, n := range levelNames {
		if n.name == name {
			return n.level
		}
	}
	return levelNames[0].level
}
