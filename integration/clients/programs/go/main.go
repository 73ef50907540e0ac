// Command go runs the clients that are written in Go, and kcat, with the command line that all client programs share
// (../README.md):
//
//	go LIBRARY produce BOOTSTRAP TASK…
//	go LIBRARY consume BOOTSTRAP TASK…
//	go LIBRARY admin BOOTSTRAP TOPIC
//	go LIBRARY member BOOTSTRAP GROUP
//	go LIBRARY groups BOOTSTRAP GROUP
//
// LIBRARY is franz-go, sarama, kafka-go or kcat.
package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/kbroker/kbroker/integration/clients/programs/go/record"
)

// client is one Kafka client library.
type client interface {
	// produce writes the records of a task, and checks the offsets they got if the library tells.
	produce(bootstrap string, t record.Task) error
	// consume reads the topic from its beginning to its end by assignment and checks every record.
	consume(bootstrap string, t record.Task) error
	// admin creates the topic, looks at it in every way the library offers, and deletes it.
	admin(bootstrap, topic string) error
}

var clients = map[string]client{
	"franz-go": franz{},
	"sarama":   saramaClient{},
	"kafka-go": segmentio{},
	"kcat":     kcat{},
}

func main() {
	if len(os.Args) < 5 || clients[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: go franz-go|sarama|kafka-go|kcat produce|consume|admin|member|groups BOOTSTRAP TASK…|TOPIC|GROUP")
		os.Exit(2)
	}
	c, verb, bootstrap, tasks := clients[os.Args[1]], os.Args[2], os.Args[3], os.Args[4:]
	var results []error
	for _, arg := range tasks {
		err := do(c, verb, bootstrap, arg)
		if err != nil {
			fmt.Printf("FAIL %s %v\n", arg, err)
		} else {
			fmt.Printf("ok %s\n", arg)
		}
		results = append(results, err)
	}
	if slices.ContainsFunc(results, func(err error) bool { return err != nil }) {
		os.Exit(1)
	}
}

func do(c client, verb, bootstrap, arg string) error {
	switch verb {
	case "admin":
		return c.admin(bootstrap, arg)
	case "member", "groups":
		return runGroup(c, verb, bootstrap, arg)
	}
	task, err := record.ParseTask(arg)
	if err != nil {
		return err
	}
	switch verb {
	case "produce":
		return c.produce(bootstrap, task)
	case "consume":
		return c.consume(bootstrap, task)
	default:
		return fmt.Errorf("no such command: %s", verb)
	}
}
