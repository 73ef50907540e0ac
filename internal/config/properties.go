package config

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxFile bounds a file of settings in bytes. Real ones have a few kilobytes.
const MaxFile = 1 << 20

// property is one assignment in a file.
type property struct {
	name, value string
	line        int // where it begins, from 1
}

// parseProperties reads a file in Java's properties format: NAME=VALUE, NAME:VALUE or NAME VALUE lines, comments that
// begin with # or !, lines continued by a backslash, and escapes. Kafka reads such files as ISO 8859-1; valid UTF-8 is
// taken as UTF-8 here, because that is what editors write.
func parseProperties(data []byte) ([]property, error) {
	if len(data) > MaxFile {
		return nil, fmt.Errorf("has %d bytes, more than the %d that a file of settings may have", len(data), MaxFile)
	}
	var properties []property
	for line := range logicalLines(decodeText(data)) {
		name, value := splitProperty(line.text)
		n, err := unescape(name)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line.number, err)
		}
		v, err := unescape(value)
		if err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", line.number, n, err)
		}
		properties = append(properties, property{n, v, line.number})
	}
	return properties, nil
}

func decodeText(data []byte) string {
	if utf8.Valid(data) {
		return strings.TrimPrefix(string(data), "\ufeff")
	}
	runes := make([]rune, len(data))
	for i, b := range data {
		runes[i] = rune(b)
	}
	return string(runes)
}

// logicalLine is a line with those that continue it.
type logicalLine struct {
	text   string
	number int // of its first natural line
}

const blanks = " \t\f"

// logicalLines yields the lines that are neither blank nor comments, leading blanks cut, continued ones joined.
func logicalLines(text string) func(yield func(logicalLine) bool) {
	return func(yield func(logicalLine) bool) {
		text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
		natural := strings.Split(text, "\n")
		for i := 0; i < len(natural); i++ {
			first := i + 1
			line := strings.TrimLeft(natural[i], blanks)
			if line == "" || line == `\` || line[0] == '#' || line[0] == '!' {
				continue // a backslash alone continues nothing
			}
			for continues(line) && i+1 < len(natural) {
				i++
				line = line[:len(line)-1] + strings.TrimLeft(natural[i], blanks)
			}
			if continues(line) {
				line = line[:len(line)-1] // nothing follows the last line
			}
			if !yield(logicalLine{line, first}) {
				return
			}
		}
	}
}

// continues reports whether line ends in an odd number of backslashes: an even number is pairs of escaped ones.
func continues(line string) bool {
	return (len(line)-len(strings.TrimRight(line, `\`)))%2 == 1
}

// splitProperty cuts a logical line at the first =, : or blank that is not escaped. Blanks around it are cut too, those
// at the end of the value are not.
func splitProperty(line string) (name, value string) {
	end := len(line)
	for i := 0; i < len(line); i++ {
		if line[i] == '\\' {
			i++
			continue
		}
		if strings.IndexByte("=:"+blanks, line[i]) >= 0 {
			end = i
			break
		}
	}
	rest := strings.TrimLeft(line[end:], blanks)
	if rest != "" && (rest[0] == '=' || rest[0] == ':') {
		rest = strings.TrimLeft(rest[1:], blanks)
	}
	return line[:end], rest
}

// unescape resolves \t, \n, \r, \f and \uXXXX; a backslash before anything else is dropped.
func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var out strings.Builder
	var units []uint16 // of a run of \u escapes, which may be halves of one character
	flush := func() {
		out.WriteString(string(utf16.Decode(units)))
		units = units[:0]
	}
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			flush()
			out.WriteByte(s[i])
			continue
		}
		i++
		if s[i] == 'u' {
			if i+5 > len(s) {
				return "", fmt.Errorf(`\%s is not \u and four hexadecimal digits`, s[i:])
			}
			v, err := strconv.ParseUint(s[i+1:i+5], 16, 16)
			if err != nil {
				return "", fmt.Errorf(`\%s is not \u and four hexadecimal digits`, s[i:i+5])
			}
			units = append(units, uint16(v))
			i += 4
			continue
		}
		flush()
		if j := strings.IndexByte("tnrf", s[i]); j >= 0 {
			out.WriteByte("\t\n\r\f"[j])
		} else {
			out.WriteByte(s[i])
		}
	}
	flush()
	return out.String(), nil
}
