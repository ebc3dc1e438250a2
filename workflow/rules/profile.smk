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
                for batch_size in plan.rectangles[device, runtime]
            ],
        params:
            job=plan.job_of(device, runtime),
            attempts=layout.attempts_pattern(device, runtime),
        log:
            f"logs/profiles/{device}/{runtime}/{{model}}/{{optimization}}/{{scenario}}/round{{round}}.log",
        conda:
            CONDA_FILES[plan.environment(device, runtime)]
        envmodules:
            *submission.modules(device),
        threads: ALL_CORES
        resources:
            **submission.to_profile(device, runtime),
        priority: plan.priority_of(device, runtime)
        retries: submission.retries(device)  # a job killed from outside; what it leaves undone becomes a row
        shell:
            '"$HWFIT_PYTHON" -m hwfit.worker supervise --job {params.job:q}'
            " --attempts {params.attempts:q} > {log:q} 2>&1"


rule write_plan:
    input:
        sites=[layout.site_file(site) for site in EXPORTS],
        # By these it is told whether other sites have measured the same.
        cards=plan.subject_cards if EXPORTS else [],
    output:
        "results/plan.json",
    params:
        # A function, since Snakemake would take braces in a text for wildcards.
        study=lambda wildcards: plan.public_study(),
    log:
        "logs/plan.log",
    conda:
        CONTROL_YAML
    localrule: True
    shell:
        '"$HWFIT_PYTHON" -m hwfit plan --study {params.study:q} --sites {input.sites:q}'
        " --output {output:q} > {log:q} 2>&1"


rule nominate_contenders:
    input:
        plan="results/plan.json",
        profiles=plan.first_looks(),
        inventories=[layout.inventory_file(device) for device in plan.described_devices],
    output:
        contenders="results/contenders.json",
        # What follows asks for this in place of every record: Snakemake looks each input up in each job.
        first_looks=layout.FIRST_LOOKS,
    log:
        "logs/contenders.log",
    conda:
        CONTROL_YAML
    localrule: True
    shell:
        '"$HWFIT_PYTHON" -m hwfit nominate --plan {input.plan:q} --first-looks {output.first_looks:q}'
        " --output {output.contenders:q} > {log:q} 2>&1"


for device in plan.devices:

    rule:
        name:
            f"confirm_{layout.rule_name(device)}"
        input:
            plan="results/plan.json",
            contenders="results/contenders.json",
            first_looks=layout.FIRST_LOOKS,
        output:
            f"results/confirmations/{device}.json",
        params:
            device=device,
        log:
            f"logs/confirmations/{device}.log",
        conda:
            CONTROL_YAML
        envmodules:
            *submission.modules(device),
        threads: ALL_CORES
        resources:
            **submission.to_confirm(device, "results/contenders.json"),
        retries: submission.retries(device)
        shell:
            '"$HWFIT_PYTHON" -m hwfit confirm --plan {input.plan:q} --contenders {input.contenders:q}'
            " --device {params.device:q} --output {output:q} > {log:q} 2>&1"
