// Package proc reads what Linux says of a process: its CPU time and its memory. On other systems it is empty.
package proc
