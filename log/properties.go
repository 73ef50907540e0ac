package log

import (
	"fmt"
	"strings"
)

// parseProperties reads what java.util.Properties writes: lines of key=value, comments after # or !, and backslash
// escapes. A line continued with a backslash at its end is refused, since no file of ours has one. One key on two
// lines is refused as well: in meta.properties either could be meant.
func parseProperties(data []byte) (map[string]string, error) {
	props := make(map[string]string)
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimLeft(strings.TrimSuffix(line, "\r"), " \t\f")
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		bad := func(what string) error {
			return fmt.Errorf("line %d: %.80q %s: %w", i+1, line, what, ErrCorrupt)
		}
		end, escaped := len(line), false
		for j, c := range []byte(line) {
			if escaped {
				escaped = false
			} else if c == '\\' {
				escaped = true
			} else if c == '=' || c == ':' || c == ' ' || c == '\t' {
				end = j
				break
			}
		}
		key, ok := unescapeProperty(line[:end])
		if !ok {
			return nil, bad("has a backslash escape that is not known")
		}
		value := strings.TrimLeft(line[end:], " \t\f")
		if value != "" && (value[0] == '=' || value[0] == ':') {
			value = strings.TrimLeft(value[1:], " \t\f")
		}
		if value, ok = unescapeProperty(value); !ok {
			return nil, bad("has a backslash escape that is not known")
		}
		if _, twice := props[key]; twice {
			return nil, bad("repeats a key")
		}
		props[key] = value
	}
	return props, nil
}

// unescapeProperty undoes the escapes that occur in ids and numbers; it reports false for those that do not, \u and a
// line break.
func unescapeProperty(s string) (string, bool) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++
			if i == len(s) || strings.IndexByte(`:=#! \`, s[i]) < 0 {
				return "", false
			}
		}
		b.WriteByte(s[i])
	}
	return b.String(), true
}

// escapeProperty returns value as Java would write it.
func escapeProperty(value string) string {
	return strings.NewReplacer(`\`, `\\`, `=`, `\=`, `:`, `\:`, `#`, `\#`, `!`, `\!`).Replace(value)
}
