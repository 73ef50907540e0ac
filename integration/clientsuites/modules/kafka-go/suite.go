// Package suite pins the version of the client whose tests are run.
package suite

import _ "github.com/segmentio/kafka-go"
