// Package archtest holds the rules of this repository that a compiler does not check, as tests: who may import whom,
// what may not be called where, that every package says what it is, and how large functions and files may be.
//
// It guarantees that breaking such a rule fails `go test ./internal/archtest` with a line that says where, and what to
// do. The rules themselves are data: testdata/imports.txt, the table in banned_test.go, and testdata/oversize.txt,
// which may only shrink.
package archtest
