#!/usr/bin/env bash
# The disks whose power is cut are loop-mounted ext4 images.
exec "$(dirname "$0")/../need.sh" mkfs.ext4=e2fsprogs mount=mount losetup=mount
