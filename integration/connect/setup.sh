#!/usr/bin/env bash
# Kafka Connect needs Java 17 or later, and its jars come through Maven.
exec "$(dirname "$0")/../need.sh" java=default-jre-headless mvn=maven
