module kbroker.integration/confluent-kafka-go

go 1.26.0

require github.com/confluentinc/confluent-kafka-go/v2 v2.11.1

replace github.com/testcontainers/testcontainers-go/modules/compose => ./compose
