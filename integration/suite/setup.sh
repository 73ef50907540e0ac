#!/usr/bin/env bash
# The race detector links with the C compiler; staticcheck and others ask git for the version.
exec "$(dirname "$0")/../need.sh" gcc=gcc gcc=libc6-dev git=git
