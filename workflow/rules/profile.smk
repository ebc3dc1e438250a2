# Measuring: a first look at every cell, then fresh rounds of those that may be best.
#
# A rule a target, since its outputs are fixed: one file for each batch size that any of its cells has.
# `update`, so that adding a batch size measures only the new one.


for device, runtime in plan.targets:

    rule:
        name:
            f"profile_{layout.rule_name(device)}_{runtime}"
        input:
            probe=layout.probe_file(device),
            # Only to be there: what it says of memory beforehand is no part of a measurement.
            inventory=ancient(layout.inventory_file(device)),
            environments=plan.environment_files(device, runtime),
            model="results/models/{model}/card.json",
            weights=plan.weights_cards(device, runtime),
        output:
            [
                update(layout.profile_pattern(device, runtime, batch_size))
                for batch_size in plan.rectangle(device, runtime)
            ],
        params:
            job=plan.job_of(device, runtime),
            attempts=layout.attempts_pattern(device, runtime),
        log:
            f"logs/profiles/{device}/{runtime}/{{model}}/{{optimization}}/{{scenario}}/round{{round}}.log",
        conda:
            CONDA_FILES[plan.environment(device, runtime)]
        threads: ALL_CORES
        priority: plan.priority_of(device, runtime)
        retries: 2  # a job killed from outside; what it leaves undone then becomes a row
        shell:
            '"$HWFIT_PYTHON" -m hwfit.worker supervise --job {params.job:q}'
            " --attempts {params.attempts:q} > {log:q} 2>&1"


rule write_plan:
    output:
        "results/plan.json",
    params:
        # A function, since Snakemake would take braces in a text for wildcards.
        study=lambda wildcards: plan.public_study(),
    log:
        "logs/plan.log",
    conda:
        CONTROL_YAML
    shell:
        '"$HWFIT_PYTHON" -m hwfit plan --study {params.study:q} --output {output:q} > {log:q} 2>&1'


rule nominate_contenders:
    input:
        plan="results/plan.json",
        profiles=plan.first_looks(),
        inventories=[layout.inventory_file(device) for device in plan.described_devices],
    output:
        "results/contenders.json",
    log:
        "logs/contenders.log",
    conda:
        CONTROL_YAML
    shell:
        '"$HWFIT_PYTHON" -m hwfit nominate --plan {input.plan:q} --output {output:q} > {log:q} 2>&1'


for device in plan.devices:

    rule:
        name:
            f"confirm_{layout.rule_name(device)}"
        input:
            plan="results/plan.json",
            contenders="results/contenders.json",
            profiles=plan.first_looks(device),
        output:
            f"results/confirmations/{device}.json",
        params:
            device=device,
        log:
            f"logs/confirmations/{device}.log",
        conda:
            CONTROL_YAML
        threads: ALL_CORES
        retries: 2
        shell:
            '"$HWFIT_PYTHON" -m hwfit confirm --plan {input.plan:q} --contenders {input.contenders:q}'
            " --device {params.device:q} --output {output:q} > {log:q} 2>&1"
