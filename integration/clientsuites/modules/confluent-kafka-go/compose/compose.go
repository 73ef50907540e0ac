// Package compose stands in for the module of this name, with which confluent-kafka-go's tests start a broker in Docker
// if they are asked to. They are not; and the real one brings in 300 modules that take minutes to compile.
package compose

import "errors"

// LocalDockerCompose is what the tests hold.
type LocalDockerCompose struct{}

// ExecError is the result of a command.
type ExecError struct{ Error error }

// NewLocalDockerCompose makes one.
func NewLocalDockerCompose([]string, string) *LocalDockerCompose { return &LocalDockerCompose{} }

// WithCommand is called before Invoke.
func (c *LocalDockerCompose) WithCommand([]string) *LocalDockerCompose { return c }

// Invoke fails.
func (*LocalDockerCompose) Invoke() ExecError {
	return ExecError{errors.New("there is no Docker here")}
}

// Down fails.
func (c *LocalDockerCompose) Down() ExecError { return c.Invoke() }
