.PHONY: demo test lint fuzz bench notebooks docs clean

demo: ## set up, build examples/quickstart in both ways, run it
	@.ci/setup demo && .ci/demo
test: ## set up, lint, check types, run all tests
	@.ci/setup test && .ci/test
lint: ## ruff and mypy alone
	@.ci/setup test && .venv/bin/ruff check . && .venv/bin/mypy
fuzz: ## coverage-guided, FUZZ_SECONDS (60) long: what reads Dockerfiles raises nothing but its own error
	@.ci/setup test && .ci/fuzz
bench: ## side by side with buildah; as root, on a fresh file system
	@.ci/setup bench && .venv-bench/bin/python -m bench
notebooks: ## execute every notebook
	@.ci/setup test && .venv/bin/pytest tests/notebooks
docs: ## write the command reference anew, and all documentation as HTML to build/docs
	@.ci/setup test && .venv/bin/python docs/reference.py && .venv/bin/python -m sphinx -q -W --keep-going docs build/docs
clean:
	@rm -rf .venv .venv-bench build *.egg-info
