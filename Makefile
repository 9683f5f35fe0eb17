# The ways in. Each is a short script in scripts/, which says more.

.PHONY: help run demo test test-long soak check-windows bench fuzz sanitize pictures

help:
	@echo "make run    a server and an echo peer to talk to   PORT=8080 HOST=127.0.0.1 ROOM=lobby YES=1"
	@echo "make demo   two peers talk without hands, and what was heard is measured   ARGS=…"
	@echo "make test   format, lints, docs, all tests   YES=1"
	@echo "make test-long  whole tables of networks, the check for Windows, a soak; results in docs/measured   PART=… CASES=…"
	@echo "make soak   2,000 connections to one server, some of them hostile; result in docs/measured   TIME=20 ROOMS=250"
	@echo "make check-windows  the command compiles for Windows"
	@echo "make bench  latency, CPU and memory, on release builds   ARGS=…"
	@echo "make fuzz   fuzz the decoders   TIME=600 TARGET=…"
	@echo "make sanitize  the C examples under the address and thread sanitizers   SANITIZER=…"
	@echo "make pictures  takes the pictures of README.md anew"
	@echo "YES=1 installs what is missing without asking."

run:
	@scripts/run.sh

demo:
	@scripts/demo.sh $(ARGS)

test:
	@scripts/test.sh

test-long:
	@scripts/test-long.sh

soak:
	@PART=server-soak SOAK_MINUTES=$${TIME:-20} SOAK_ROOMS=$${ROOMS:-250} scripts/test-long.sh

check-windows:
	@scripts/check-windows.sh

bench:
	@scripts/bench.sh $(ARGS)

fuzz:
	@scripts/fuzz.sh

sanitize:
	@scripts/sanitize.sh

pictures:
	@scripts/pictures.sh
