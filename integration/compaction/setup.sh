#!/usr/bin/env bash
# The tests compare with a real Kafka.
exec "$(dirname "$0")/../need.sh" java=default-jre-headless mvn=maven
