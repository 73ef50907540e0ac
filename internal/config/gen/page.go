package main

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

const pageHead = `# Configuration

<!-- Generated from internal/config/data by go generate ./internal/config. Do not edit. -->

kbroker reads Kafka's settings under Kafka's names, and a few of its own that begin with ` + "`kbroker.`" + `. They come, by
strength, from the command line (` + "`-o key=value`" + `), from the environment (` + "`KAFKA_LOG_DIRS`" + ` is ` + "`log.dirs`" + `: one
underscore is a dot, two are an underscore, three a dash), from a file in the format of ` + "`server.properties`" + `, and from the
defaults below. What is altered at run time, through the Kafka protocol, is stronger than all of them.

Three defaults of ` + "`kbroker start`" + ` differ from Kafka's below, so that it starts without a file: ` + "`node.id=1`" + `,
` + "`listeners=PLAINTEXT://127.0.0.1:9092`" + ` and ` + "`log.dir=kbroker-data`" + `, in the directory where it is started.

Each setting that Kafka 4.3.1 knows has one of three classes:

- **works**: kbroker acts upon it.
- **accepted without effect**: it is checked, kept and shown, and changes nothing. kbroker says so once when it starts.
- **refused**: kbroker does not start with another value than the default, and says what to do instead.

` + "`kbroker config check FILE`" + ` sorts the settings of a file into these three, those whose value cannot be used, and those that it
does not know; it exits with 78 if a node would not start with the file. Unknown
settings are listed once at the start, as they may belong to other programs; unknown ones that begin with ` + "`kbroker.`" + ` are
mistakes, and are refused.
`

// page writes the reference for users.
func page(tables []table) []byte {
	var w bytes.Buffer
	w.WriteString(pageHead)
	for _, t := range tables {
		keys := slices.Clone(t.keys)
		slices.SortFunc(keys, func(a, b key) int { return cmp.Compare(a.name, b.name) })
		name := map[string]string{"broker": "Broker", "topic": "Topic", "group": "Group", "client-metrics": "Client metrics"}[t.scope]
		fmt.Fprintf(&w, "\n## %s settings\n", name)
		section(&w, "Works", keys, "works", "What it does", func(k key) string { return k.doc })
		section(&w, "Refused", keys, "refused", "What to do", refusal)
		section(&w, "Accepted without effect", keys, "ignored", "Why", func(k key) string { return k.note })
	}
	return w.Bytes()
}

func refusal(k key) string {
	if len(k.allowed) == 0 {
		return k.note
	}
	return k.note + " (accepted: " + strings.Join(k.allowed, ", ") + ")"
}

func section(w *bytes.Buffer, name string, keys []key, class, column string, text func(key) string) {
	keys = slices.DeleteFunc(slices.Clone(keys), func(k key) bool { return k.class != class })
	if len(keys) == 0 {
		return
	}
	fmt.Fprintf(w, "\n### %s\n\n| Setting | Type | Default | Allowed | Changes | %s |\n|---|---|---|---|---|---|\n", name, column)
	for _, k := range keys {
		def := "`" + k.def + "`"
		switch {
		case k.null:
			def = "none"
		case k.def == "":
			def = "empty"
		}
		changes := cmp.Or(k.update, "at run time")
		fmt.Fprintf(w, "| `%s` | %s | %s | %s | %s | %s |\n", k.name, k.typ, def, strings.ReplaceAll(k.valid, "|", `\|`), changes, text(k))
	}
}
