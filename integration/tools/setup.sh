#!/usr/bin/env bash
# Kafka's tools are run by a program of ours that uses its classes.
exec "$(dirname "$0")/../need.sh" javac=default-jdk-headless mvn=maven
