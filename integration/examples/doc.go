// Package examples runs the programs of examples/ against a broker, as a newcomer does: it has tests only.
package examples
