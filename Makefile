# Every target does what it needs first, and says nothing about what is done already. `make` alone lists them.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.PHONY: help cutover readiness lab lab-down test lint unit integration molecule lock clean venv servers

# Ansible ignores an ansible.cfg it finds by itself in a folder that others may write to; one that is named, it reads.
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# Debian keeps servers where an ordinary user's PATH does not look.
export PATH := $(CURDIR)/.venv/bin:$(PATH):/usr/sbin:/sbin
# Every playbook is a process, and every module another one: they need not compile what they import each time.
unexport PYTHONDONTWRITEBYTECODE

PLAY := ansible-playbook

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS='	' read -r name what; do printf '  make %-12s %s\n' "$$name" "$$what"; done

cutover: servers  ## Stand up a real stack on loopback and move its application from 1.0.0 to 1.1.0
	@$(PLAY) playbooks/lab.yml -e lab_release=1.0.0
	@# Whatever an interrupted run has left: the lab has just been brought back.
	@$(PLAY) playbooks/cutover.yml -e release_version=1.1.0 -e run_set_aside="$$(.venv/bin/python tools/unfinished.py artifacts/lab)"

readiness: lab  ## Look at everything declared and decide, changing nothing
	@$(PLAY) playbooks/readiness.yml

lab: servers  ## Start the lab, or what of it is down
	@$(PLAY) playbooks/lab.yml

lab-down: venv  ## Take the lab down and leave no process behind
	@$(PLAY) playbooks/lab.yml -e lab_state=absent

test: servers  ## Lint, then all tests, against a lab of their own
	@tools/test

lint: venv  ## ansible-lint, yamllint, ruff, mypy, shellcheck
	@tools/test lint

unit: venv  ## The tests that need no server
	@tools/test unit contract

integration: servers  ## The tests against real servers
	@tools/test integration

molecule: servers  ## The playbooks, played against a lab of their own
	@tools/test molecule

lock: venv  ## Lock the newest versions of all requirements
	@tools/lock

clean:  ## Remove all that was made here, except the evidence in artifacts/
	@tools/clean

venv:
	@tools/bootstrap

servers:
	@tools/bootstrap lab
