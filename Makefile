# make            lists the targets
# make reproduce  runs the notebooks of a profile and writes results/<profile>/

PYTHON  = python3#  what .venv is made with: 3.11 or later
PROFILE = mini#     a name in editlib/profiles, or the path of a YAML file
RESULTS =#          where to write; empty: results/
SET     =#          settings to change: SET="training.krsl.lr=1e-4 teacher.seed=1"
PARAMS  =#          notebook parameters to change: PARAMS="examples=3"
ONLY    =#          notebooks to run, or tables of bench: ONLY="03 05", ONLY=kills
FROM    =#          first notebook to run: FROM=04
FORCE   =#          1: run notebooks that are unchanged too
LAB     =#          options of JupyterLab: LAB="--allow-root --port 9000"

# Recipes read these from the environment: spaces and quotes in them need no care.
export PROFILE RESULTS SET PARAMS

# The variables that each target heeds; another one that is given stops make at once.
HEEDED_BY_reproduce = PROFILE RESULTS SET PARAMS ONLY FROM FORCE
HEEDED_BY_search    = RESULTS SET
HEEDED_BY_studies   = PROFILE RESULTS SET
HEEDED_BY_lab       = PROFILE RESULTS SET LAB
HEEDED_BY_report    = PROFILE RESULTS SET
HEEDED_BY_bench     = RESULTS ONLY
HEEDED_BY_clean     = PROFILE RESULTS
GIVEN := $(foreach name,$(filter-out PYTHON VENV RUN,$(.VARIABLES)),\
         $(and $(filter command,$(origin $(name))),$($(name)),$(name)))
$(foreach goal,$(MAKECMDGOALS),$(foreach name,$(filter-out $(HEEDED_BY_$(goal)),$(GIVEN)),\
    $(error make $(goal) makes no use of $(name); it heeds $(or $(HEEDED_BY_$(goal)),no variable))))

VENV = .venv
RUN  = $(VENV)/bin/python
BUILT = $(VENV)/.installed
WHERE = --profile "$$PROFILE" $(if $(SET),--set "$$SET") $(if $(RESULTS),--results "$$RESULTS")
WHICH = $(if $(PARAMS),-p "$$PARAMS") $(if $(ONLY),--only $(ONLY)) $(if $(FROM),--from $(FROM)) \
        $(if $(FORCE),--force)

.DEFAULT_GOAL = help
.PHONY: help setup reproduce search studies lab report test bench lint base-student wide-student lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-13s %s\n", $$1, $$2}' Makefile
	@awk -F ' *=#  *' '/^[A-Z]+ *=#|^[A-Z]+ *= [a-z0-9]+#/{print "  " $$0}' Makefile | sed 's/#/  /'

setup: $(BUILT) ## make .venv from requirements.lock (2 to 5 min, about 2 GB)

reproduce: $(BUILT) ## run the notebooks (mini: 8 to 10 min on 2 cores, no GPU, no key; seconds if unchanged)
	@$(RUN) -m editlib.reproduce $(WHERE) $(WHICH)

search: $(BUILT) ## choose learning rates on validation questions, equally for all methods (1.5 hours)
	@$(RUN) -m editlib.reproduce --profile mini --only 01 02 03 04 \
		--results "$${RESULTS:-results}/search" \
		--set "training.seeds=[100] benchmark.questions.validation=40" \
		--set "training.sft.lr=2.0e-3 training.sft.also_try=[5.0e-4, 1.0e-3, 4.0e-3, 8.0e-3]" \
		--set "training.krsl.lr=1.0e-4 training.krsl.also_try=[1.0e-5, 3.0e-5, 3.0e-4, 1.0e-3]" \
		$(if $(SET),--set "$$SET")
	@$(RUN) -m editlib.reproduce --profile full --only 01 02 03 04 \
		--results "$${RESULTS:-results}/search" \
		--set "training.seeds=[100] benchmark.questions.validation=40 training.lr_of={}" \
		--set "training.ablations=null training.follow_test=false exam={}" \
		--set "training.methods=[MT-CoT, SCOTT, Std-CoT, SBS, SBS-MI, CasCoD, \
		'Std-CoT, repeat sampling', 'Std-CoT, dual CoTs', EDIT, DPO, DPO-Positive, SimPO]" \
		--set "training.sft.lr=2.0e-3 training.sft.also_try=[5.0e-4, 1.0e-3, 4.0e-3, 8.0e-3]" \
		--set "training.krsl.lr=1.0e-4 training.krsl.also_try=[1.0e-5, 3.0e-5, 3.0e-4, 1.0e-3]" \
		--set "training.dpo.lr=1.0e-4 training.dpo.also_try=[1.0e-5, 3.0e-5, 3.0e-4, 1.0e-3]" \
		--set "training.dpop.lr=1.0e-4 training.dpop.also_try=[1.0e-5, 3.0e-5, 3.0e-4, 1.0e-3]" \
		--set "training.simpo.lr=1.0e-4 training.simpo.also_try=[1.0e-5, 3.0e-5, 3.0e-4, 1.0e-3]" \
		$(if $(SET),--set "$$SET")

studies: $(BUILT) ## vary teacher and base student, write results/studies/ (mini: 2.5 hours on 2 cores)
	@$(RUN) -m editlib.studies $(WHERE)

lab: $(BUILT) ## open the notebooks in JupyterLab (seconds)
	@$(RUN) -m editlib.lab $(WHERE) -- $(LAB)

report: $(BUILT) ## rebuild report.html and the results table of README.md (seconds)
	@$(RUN) -m editlib.report --readme $(WHERE)

test: $(BUILT) ## run the tests (7 to 12 min on 2 cores, offline)
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist worksteal

bench: $(BUILT) ## time the fast paths beside plain ones, write results/bench/ (4 to 6 min on 2 cores)
	@$(RUN) -m editlib.bench --results "$${RESULTS:-results}/bench" $(if $(ONLY),--only $(ONLY))

lint: $(BUILT) ## check style, and that notebook sources hold no outputs (seconds)
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m nbstripout --keep-id --verify $(wildcard notebooks/*.ipynb)

base-student: $(BUILT) ## train the bundled base student anew (1.5 hours on 2 cores; killed, it goes on)
	@OMP_NUM_THREADS=1 $(VENV)/bin/torchrun --nproc_per_node 2 -m editlib.base_student

wide-student: $(BUILT) ## train the base student of full-gpu into build/ (needs a GPU; killed, it goes on)
	@OMP_NUM_THREADS=1 $(RUN) -m editlib.wide_student

lock: ## write requirements.lock anew from pyproject.toml (3 min, network)
	$(PYTHON) -m venv --clear build/lock
	build/lock/bin/python -m pip install -q -e '.[dev]'
	build/lock/bin/python -m pip freeze --exclude-editable | sed 's/+[a-z0-9]*$$//' > requirements.lock

clean: ## delete the students and caches of a profile; tables, figures and notebooks stay (seconds)
	@name=$$(basename "$$PROFILE" | sed -E 's/\.ya?ml$$//'); folder="$${RESULTS:-results}/$$name"; \
	[ -d "$$folder" ] || [ -f "$$PROFILE" ] || [ -f "editlib/profiles/$$name.yaml" ] \
		|| { echo "unknown profile $$PROFILE: no such file, and no folder $$folder" >&2; exit 1; }; \
	(set -x; rm -rf "$$folder/artifacts")

$(BUILT): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or later is needed: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install -q -r requirements.lock
	$(RUN) -m pip install -q --no-deps -e .
	@touch $@
