# Guided search: a moment's look at every cell, then at what is left of them, then the verdict on what is
# measured in full. A job a target and model, since to load a framework takes longer than a look.


for device, runtime in plan.targets:

    rule:
        name:
            f"screen_{layout.rule_name(device)}_{runtime}"
        input:
            probe=layout.probe_file(device),
            inventory=ancient(layout.inventory_file(device)),
            environments=plan.environment_files(device, runtime),
            model="results/models/{model}/card.json",
            weights=search.weights_cards(device, runtime),
            verdict=search.verdict_before,
        output:
            search.summary_pattern(device, runtime),
        params:
            jobs=search.jobs_of(device, runtime),
        log:
            f"logs/screening/{device}/{runtime}/{{model}}/round{{round}}.log",
        conda:
            CONDA_FILES[plan.environment(device, runtime)]
        envmodules:
            *submission.modules(device),
        threads: ALL_CORES  # it is measured, so nothing runs beside it
        resources:
            **submission.to_screen(device, runtime),
        priority: 1  # before anything is measured in full
        retries: submission.retries(device)
        shell:
            '"$HWFIT_PYTHON" -m hwfit.worker screen --jobs {params.jobs:q} --verdict {input.verdict:q}'
            " --output {output:q} > {log:q} 2>&1"


checkpoint choose_round:
    input:
        plan="results/plan.json",
        looks=search.looks(checkpoints),
        before=search.verdict_before,
        inventories=[layout.inventory_file(device) for device in plan.described_devices],
    output:
        "results/search/round{round}.json",
    log:
        "logs/search/round{round}.log",
    conda:
        CONTROL_YAML
    localrule: True
    shell:
        '"$HWFIT_PYTHON" -m hwfit choose-round --plan {input.plan:q} --round {wildcards.round:q}'
        " --output {output:q} > {log:q} 2>&1"
