"""Run terway-cli as a module."""

from terway.cli.app import main

main()
