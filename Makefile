# A short front for Meson and Ninja. `make help` says what there is. Every target first sees to it
# that the packages it needs are installed (scripts/install-deps; WEIR_SKIP_DEPS=1 leaves that out).

PREFIX ?= /usr/local
DESTDIR ?=
ARGS ?=
TESTS ?=
FUZZ_SECONDS ?= 60

.PHONY: all weir run test check bench bench-callgrind test-asan test-tsan test-llm fuzz lint format \
	install clean help

all: weir

help:
	@sed -n 's/^## //p' Makefile

## make                 build build/weir
weir:
	@scripts/install-deps build
	@scripts/build release weir

## make run             build and run weir with what the environment offers (ARGS='--listen ...')
run: weir
	@exec build/weir run $(ARGS)

## make test            every test that needs no network beyond loopback (TESTS='unit wire ...')
test: weir
	@scripts/install-deps build test
	@scripts/run-tests $(TESTS)

## make check           the quick part: unit, dialect and simulation tests, under a minute
check:
	@scripts/install-deps build test
	@scripts/run-tests --quick

## make test-asan       the tests under AddressSanitizer and UndefinedBehaviorSanitizer
test-asan:
	@scripts/install-deps build test
	@scripts/run-tests --build asan $(TESTS)

## make test-tsan       the threaded tests under ThreadSanitizer
test-tsan:
	@scripts/install-deps build test
	@scripts/run-tests --build tsan $(TESTS)

## make test-llm        a streamed conversation with a real language model through weir
test-llm: weir
	@scripts/install-deps build test
	@scripts/run-tests llm

## make fuzz            every fuzz target for FUZZ_SECONDS seconds each (default 60)
fuzz:
	@scripts/install-deps build test
	@scripts/run-tests fuzz --fuzz-seconds $(FUZZ_SECONDS)

## make bench           weir beside a direct call, nginx and HAProxy
bench: weir
	@scripts/install-deps build bench
	@scripts/build release bench-programs
	@bench/run $(ARGS)

## make bench-callgrind instructions a request and a token, a figure that noise does not touch
bench-callgrind: weir
	@scripts/install-deps build bench
	@scripts/build release bench-programs
	@bench/run --callgrind $(ARGS)

## make lint            formatting, clang-tidy, cppcheck, include floors, yield marks
lint:
	@scripts/install-deps build lint
	@scripts/lint

## make format          format the sources in place
format:
	@scripts/install-deps build lint
	@scripts/lint --fix

## make install         install to PREFIX (default /usr/local), below DESTDIR if that is set
install: weir
	@scripts/install "$(DESTDIR)" "$(PREFIX)"

## make clean           remove the build folders
clean:
	rm -rf build build-asan build-tsan build-fuzz build-coverage
