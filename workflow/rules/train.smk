# Training: a rule a target, a job a run and rung; between rungs a checkpoint says which runs go on.
#
# A run goes on from the checkpoint of its rung before, or from where it was killed.


for device, runtime in plan.training_targets:

    rule:
        name:
            f"train_{layout.rule_name(device)}_{runtime}"
        input:
            probe=layout.probe_file(device),
            environment=layout.environment_file(plan.environment(device, runtime)),
            data=training.data_of,
            before=training.before(device, runtime),
        output:
            record_pattern(device, runtime),
        params:
            job=training.job_of(device, runtime),
        log:
            f"logs/training/{device}/{runtime}/{{model}}/{{optimizer}}/{{settings}}/seed{{seed}}/rung{{rung}}.log",
        conda:
            CONDA_FILES[plan.environment(device, runtime)]
        envmodules:
            *submission.modules(device),
        threads: ALL_CORES  # it is measured, so nothing runs beside it
        resources:
            **submission.to_train(device),
        priority: training.priority_of(device, runtime)
        retries: submission.retries(device)  # a job killed from outside goes on from its checkpoint
        shell:
            '"$HWFIT_PYTHON" -m hwfit.worker train --job {params.job:q} > {log:q} 2>&1'


checkpoint judge_rung:
    input:
        plan="results/plan.json",
        records=training.judged_records(checkpoints),
    output:
        "results/halving/{device}/{runtime}/{model}/rung{rung}.json",
    log:
        "logs/halving/{device}/{runtime}/{model}/rung{rung}.log",
    conda:
        CONTROL_YAML
    localrule: True
    shell:
        '"$HWFIT_PYTHON" -m hwfit judge --plan {input.plan:q} --device {wildcards.device:q}'
        " --runtime {wildcards.runtime:q} --model {wildcards.model:q} --rung {wildcards.rung:q}"
        " --output {output:q} > {log:q} 2>&1"


rule collect_training:
    input:
        plan="results/plan.json",
        records=lambda wildcards: training.records(checkpoints),
        inventories=[layout.inventory_file(device) for device in plan.described_devices],
    output:
        report(
            "reports/training.csv",
            caption="../report/training.rst",
            category="Results",
            labels={"file": "every run of training"},
        ),
    log:
        "logs/collect_training.log",
    conda:
        CONTROL_YAML
    localrule: True
    shell:
        '"$HWFIT_PYTHON" -m hwfit collect-training --plan {input.plan:q} --output {output:q} > {log:q} 2>&1'
