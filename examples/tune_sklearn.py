"""A program of your own as a trial: a scikit-learn network that reads handwritten digits.

Alone:        python examples/tune_sklearn.py
As a sweep:   protein-sky launch examples/sklearn_sweep.yaml --cloud local
"""

import time

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from launcher.trial import params, report


def main() -> None:
    chosen = params(hidden=32, learning_rate=1e-3, weight_decay=1e-4, batch_size=64, epochs=10)
    started = time.perf_counter()

    images, digits = load_digits(return_X_y=True)
    x_train, x_valid, y_train, y_valid = train_test_split(
        images, digits, test_size=0.4, random_state=0, stratify=digits
    )
    scaler = StandardScaler().fit(x_train)
    x_train, x_valid = scaler.transform(x_train), scaler.transform(x_valid)

    network = MLPClassifier(
        hidden_layer_sizes=(int(chosen["hidden"]),),
        learning_rate_init=float(chosen["learning_rate"]),
        alpha=float(chosen["weight_decay"]),
        batch_size=int(chosen["batch_size"]),
        random_state=0,
    )
    for epoch in range(int(chosen["epochs"])):
        network.partial_fit(x_train, y_train, classes=range(10))
        report(step=epoch + 1, accuracy=network.score(x_valid, y_valid), loss=network.loss_)

    report(accuracy=network.score(x_valid, y_valid), cost_seconds=time.perf_counter() - started)


if __name__ == "__main__":
    main()
