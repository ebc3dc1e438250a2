# Checkpoints: real data, trained or published weights, and what artifact passes make of them.


rule write_dataset:
    output:
        "results/data/{dataset}.npz",
    log:
        "logs/data/{dataset}.log",
    conda:
        CONTROL_YAML
    localrule: True
    shell:
        '"$HWFIT_PYTHON" -m hwfit dataset {wildcards.dataset:q} --output {output:q} > {log:q} 2>&1'


rule read_own_data:
    input:
        lambda wildcards: files_read(study.models[wildcards.model].data),
    output:
        "results/data/models/{model}.npz",
    params:
        asked=lambda wildcards: plan.own_data(wildcards.model),
        # A folder may hold more files than a job has inputs.
        seen=lambda wildcards: folder_state(study.models[wildcards.model].data),
    log:
        "logs/data/models/{model}.log",
    conda:
        CONTROL_YAML
    localrule: True
    shell:
        '"$HWFIT_PYTHON" -m hwfit dataset --own {params.asked:q} --output {output:q} > {log:q} 2>&1'


rule prepare_model:
    input:
        environment=lambda wildcards: layout.environment_file(plan.prepare_environment(wildcards.model)),
        data=lambda wildcards: layout.data_files(wildcards.model, study.models[wildcards.model].data),
        code=lambda wildcards: files_behind(study.models[wildcards.model]),
        calibration=lambda wildcards: study.models[wildcards.model].calibration or [],
    output:
        "results/models/{model}/card.json",
    params:
        model=lambda wildcards: plan.model(wildcards.model),
        directory=lambda wildcards: layout.model_directory(wildcards.model),
    log:
        "logs/models/{model}.log",
    conda:
        lambda wildcards: CONDA_FILES[plan.prepare_environment(wildcards.model)]
    threads: ALL_CORES  # training uses them all
    shell:
        '"$HWFIT_PYTHON" -m hwfit.worker prepare --environment {input.environment:q}'
        " --name {wildcards.model:q} --model {params.model:q} --input {input.data:q} --code {input.code:q}"
        " --calibration {input.calibration:q}"
        " --output {params.directory:q} > {log:q} 2>&1"


rule export_model:
    input:
        environment=lambda wildcards: layout.environment_file(plan.prepare_environment(wildcards.model)),
        model="results/models/{model}/card.json",
        checkpoint=lambda wildcards: plan.exported_card(wildcards.model, wildcards.artifact),
        files=lambda wildcards: plan.onnx_files(wildcards.model),
    output:
        "results/onnx/{model}/{artifact}/card.json",
    params:
        model=lambda wildcards: plan.model(wildcards.model),
        source=lambda wildcards: layout.model_directory(wildcards.model),
        checkpoint=lambda wildcards, input: str(Path(input.checkpoint).parent),
        directory=lambda wildcards, output: str(Path(output[0]).parent),
    log:
        "logs/onnx/{model}/{artifact}.log",
    conda:
        lambda wildcards: CONDA_FILES[plan.prepare_environment(wildcards.model)]
    threads: ALL_CORES
    shell:
        '"$HWFIT_PYTHON" -m hwfit.worker export --environment {input.environment:q}'
        " --name {wildcards.model:q} --model {params.model:q} --input {params.source:q}"
        " --checkpoint {params.checkpoint:q} --output {params.directory:q} > {log:q} 2>&1"


rule compress_model:
    input:
        environment=lambda wildcards: layout.environment_file(plan.prepare_environment(wildcards.model)),
        card="results/models/{model}/card.json",
        data=lambda wildcards: layout.data_files(wildcards.model, study.models[wildcards.model].data),
    output:
        "results/artifacts/{model}/{artifact}/card.json",
    params:
        passes=lambda wildcards: json.dumps(plan.artifacts[wildcards.artifact]),
        model=lambda wildcards: plan.model(wildcards.model),
        source=lambda wildcards: layout.model_directory(wildcards.model),
        directory=lambda wildcards, output: str(Path(output[0]).parent),
    log:
        "logs/artifacts/{model}/{artifact}.log",
    conda:
        lambda wildcards: CONDA_FILES[plan.prepare_environment(wildcards.model)]
    threads: ALL_CORES
    shell:
        '"$HWFIT_PYTHON" -m hwfit.worker compress --environment {input.environment:q}'
        " --name {wildcards.model:q} --model {params.model:q} --input {params.source:q}"
        " --passes {params.passes:q} --data {input.data:q} --output {params.directory:q} > {log:q} 2>&1"


rule make_file:
    input:
        environment=lambda wildcards: layout.environment_file(plan.cpu_environment(wildcards.runtime)),
        model="results/models/{model}/card.json",
        weights=lambda wildcards: plan.file_start(**wildcards),
    output:
        "results/files/{runtime}/{model}/{file}/card.json",
    params:
        passes=lambda wildcards: json.dumps(plan.files[wildcards.file][1]),
        model=lambda wildcards: plan.model(wildcards.model),
        source=lambda wildcards: layout.model_directory(wildcards.model),
        weights=lambda wildcards, input: str(Path(input.weights).parent),
        directory=lambda wildcards, output: str(Path(output[0]).parent),
    log:
        "logs/files/{runtime}/{model}/{file}.log",
    conda:
        lambda wildcards: CONDA_FILES[plan.cpu_environment(wildcards.runtime)]
    threads: ALL_CORES
    shell:
        '"$HWFIT_PYTHON" -m hwfit.worker quantize --environment {input.environment:q}'
        " --name {wildcards.model:q} --model {params.model:q} --runtime {wildcards.runtime:q}"
        " --input {params.source:q}"
        " --checkpoint {params.weights:q} --passes {params.passes:q} --output {params.directory:q}"
        " > {log:q} 2>&1"
