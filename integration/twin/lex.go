package twin

import (
	"fmt"
	"strings"
)

type kind int

const (
	end kind = iota
	newline
	word   // names, versions, paths, variables
	number // decimal or 0x
	text   // "…", quotes removed
	hexes  // x"…", quotes removed
	punct
)

// token is one piece of a script.
type token struct {
	kind kind
	s    string
	line int
	at   int // byte position in the source
}

// lex splits a script. Line ends are tokens outside brackets only, so that a step may span lines.
func lex(src string) ([]token, error) {
	var out []token
	line, depth := 1, 0
	for i := 0; i < len(src); {
		c, start := src[i], i
		add := func(k kind, s string) { out = append(out, token{k, s, line, start}) }
		switch {
		case c == '\n':
			if depth == 0 {
				add(newline, "\n")
			}
			line++
			i++
		case c == ' ' || c == '\t' || c == '\r' || c == ',':
			i++
		case c == '#':
			for i < len(src) && src[i] != '\n' {
				i++
			}
		case c == '"' || strings.HasPrefix(src[i:], `x"`):
			k := text
			if c == 'x' {
				k, start = hexes, i+1
			}
			n := strings.IndexAny(src[start+1:], "\"\n")
			if n < 0 || src[start+1+n] == '\n' {
				return nil, fmt.Errorf("line %d: a quote is not closed", line)
			}
			add(k, src[start+1:start+1+n])
			i = start + n + 2
		case strings.HasPrefix(src[i:], "=>") || strings.HasPrefix(src[i:], "=="):
			add(punct, src[i:i+2])
			i += 2
		case isDigit(c) || c == '-' && i+1 < len(src) && isDigit(src[i+1]):
			for i++; i < len(src) && (isDigit(src[i]) || strings.IndexByte("abcdefABCDEFx", src[i]) >= 0); {
				i++
			}
			for i < len(src) && isWord(src[i]) { // 200ms, 1.5: a word that begins with a digit
				i++
			}
			add(numberOrWord(src[start:i]), src[start:i])
		case isWord(c) || c == '$':
			// A dash belongs to a name such as min-isr or v3-9, but ends a variable.
			for i++; i < len(src) && (isWord(src[i]) || src[i] == '-' && c != '$'); {
				i++
			}
			add(word, src[start:i])
		case strings.IndexByte("{}[]():=@+|", c) >= 0:
			if strings.IndexByte("{[(", c) >= 0 {
				depth++
			} else if strings.IndexByte("}])", c) >= 0 {
				depth--
			}
			add(punct, string(c))
			i++
		default:
			return nil, fmt.Errorf("line %d: unexpected %q", line, c)
		}
	}
	return append(out, token{newline, "\n", line, len(src)}, token{end, "end of file", line, len(src)}), nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || isDigit(c) || c == '_' || c == '.'
}

func numberOrWord(s string) kind {
	digits := strings.TrimPrefix(s, "-")
	valid := "0123456789"
	if rest, isHex := strings.CutPrefix(digits, "0x"); isHex {
		digits, valid = rest, "0123456789abcdefABCDEF"
	}
	if digits == "" || strings.Trim(digits, valid) != "" {
		return word
	}
	return number
}
