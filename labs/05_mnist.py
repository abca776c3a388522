# %% [markdown]
# # Lab 5: Handwritten digits (MNIST)
#
# **Question.** How well does a small network recognise handwritten digits, and which digits does it get wrong?
#
# **You need** [Lab 2](02_forward_by_hand.md) (layers, weights) and [Lab 3](03_xnor.md) (training). **Time:** 60 minutes.
# Running it takes about 1 minute on two cores.

# %%
import matplotlib.pyplot as plt
import numpy as np

from chainrule import NeuralNetwork
from chainrule.experiments import compare
from chainrule.labs import budget, load_lab_data
from chainrule.plots import plot_confusion_matrix, plot_history, plot_weights
from chainrule.zoo import SimpleMLP

# %% [markdown]
# ## The data
#
# MNIST consists of 70,000 grey images of the digits 0 to 9, with $28 \times 28$ pixels each. 60,000 of them are for
# training. The other 10,000 are the **test set**: they are used once, at the end, to measure how good the network is on
# images that it has never seen. For the network, an image is a row of $28 \cdot 28 = 784$ numbers between 0 (white) and 1
# (black).

# %%
train, test = load_lab_data("mnist")
print(train)
print(test)
print("pixels from", train.X.min(), "to", train.X.max())


# %%
def show_images(images, titles, columns=8):
    n_rows = -(-len(images) // columns)
    figure, axes = plt.subplots(n_rows, columns, figsize=(1.15 * columns, 1.5 * n_rows))
    for ax, image, title in zip(axes.flat, images, titles, strict=True):
        ax.imshow(np.reshape(image, (28, 28)), cmap="gray_r")
        ax.set_title(title, fontsize=9)
        ax.set_axis_off()
    figure.tight_layout()


show_images(train.X[:16], train.y[:16])

# %% [markdown]
# ## The network
#
# There are ten classes, so the network has ten outputs, one for each digit. The last layer computes ten numbers
# $z_0, \dots, z_9$. The **softmax** turns them into probabilities, which are positive and add up to 1:
#
# $$p_k = \frac{e^{z_k}}{e^{z_0} + e^{z_1} + \dots + e^{z_9}}$$
#
# The prediction is the digit with the highest probability. The **cross-entropy** loss of an image is $L = -\log p_y$,
# where $y$ is the true digit. It is near 0 if the network gives the true digit a probability near 1, and large if it
# gives it a probability near 0.
#
# `SimpleMLP` is the network of the lecture: 784 inputs, two hidden layers of 128 and 64 units with the activation ReLU,
# $\max(0, z)$, and ten outputs. MLP stands for multi-layer perceptron, an older name for such networks.

# %%
network = SimpleMLP(seed=0, epochs=budget(10, quick=8))
network.summary()

# %% [markdown]
# A layer has one weight for each pair of input and unit, and one bias for each unit. Check the number by hand:

# %%
by_hand = (784 * 128 + 128) + (128 * 64 + 64) + (64 * 10 + 10)
print(by_hand)
assert by_hand == 109_386 == network.stack.parameters()

# %% [markdown]
# Before the training, the weights are random. All digits have nearly the same probability, $1/10$, so that the loss is
# about $-\log(1/10) = 2.30$, and about one image in ten is recognised by chance. It is good practice to check this: a
# different loss at this point means a mistake in the data or in the network.

# %%
before = network.evaluate(train)
print(before, np.log(10))
assert abs(before["loss"] - np.log(10)) < 0.1

# %% [markdown]
# ## Training
#
# An **epoch** is one pass over all training images. They come in **batches** of 64 images, in random order. After each
# batch, the optimizer Adam changes all weights a little, in the direction that makes the loss of the batch smaller. Its
# **learning rate**, 0.001, determines how large this change is. [Lab 6](06_training_algorithms.md) compares Adam with other
# optimizers.
#
# 10,000 of the training images are held out as the **validation set**. The network is not trained with them, but its loss
# and its **accuracy** (the share of images that are recognised) on them are measured after each epoch.

# %%
training, validation = train.split(1 / 6, seed=0)
network.fit(training, validation=validation)
plot_history(network.history)

# %% [markdown]
# The training loss falls in every epoch. The validation loss falls quickly at first, and then hardly changes: it is
# lowest in epoch 7. From the fourth epoch on, the network is better on the training images than on the validation
# images, and the distance grows. This is **overfitting**, the topic of [Lab 7](07_overfitting.md).
#
# (In the first epochs, the training loss is the higher one. It is the mean over the batches of the epoch, each measured
# before its update, and at the start of the first epoch the weights are still random. The validation loss is measured
# at the end of the epoch.)
#
# Now the test set, which was used neither for training nor for any choice:

# %%
after = network.evaluate(test)
print(after)
assert after["accuracy"] > 0.9

# %% [markdown]
# ## How much depends on chance?
#
# A training depends on random numbers: the first weights, and the order of the images. One run therefore does not say
# much. `compare` trains each network five times, with the seeds 0 to 4, and measures all runs on the test set. The table
# shows the mean and the standard deviation, which is a measure of how much the runs differ.
#
# For comparison, there are two smaller networks. Without a hidden layer, the network is **softmax regression**, that is
# logistic regression with ten classes.

# %%
epochs = budget(10, quick=3)
result = compare(
    {
        "no hidden layer": SimpleMLP(hidden=(), epochs=epochs),
        "one hidden layer: 128": SimpleMLP(hidden=(128,), epochs=epochs),
        "SimpleMLP: 128, 64": SimpleMLP(epochs=epochs),
    },
    train,
    test,
    seeds=budget(5, quick=2),
    metrics=["accuracy", "log_loss"],
    n_jobs=budget(None, quick=1),
    verbose=False,
)
print(result)

# %% [markdown]
# The log loss is another name for the mean cross-entropy.

# %%
result.plot_scores()

# %%
scores = result.scores("accuracy")
assert scores["SimpleMLP: 128, 64"].min() > scores["no hidden layer"].max() - budget(0, quick=0.1)

# %% [markdown]
# One hidden layer makes a large difference: 2.2 % of the test images are not recognised instead of 7.3 %. The effect of
# the second hidden layer cannot be distinguished from chance. A difference of 0.001 between two single runs, such as is
# often reported, would mean nothing here, because the runs of the same network with different seeds differ as much.
#
# ## Which digits are confused?
#
# In the **confusion matrix**, each row is a true digit, and each column a predicted digit. The numbers outside the diagonal
# count mistakes.

# %%
probabilities = network.predict(test)
plot_confusion_matrix(test.y, probabilities, test.label_names)

# %% [markdown]
# The most frequent mistake is a 5 that is taken for a 3 (21 times). Then come a 4 that is taken for a 9, a 6 for a 4,
# an 8 for a 3, and a 9 for a 4: pairs of digits that are written with similar strokes. The training data do not say
# which digits are similar.
#
# Here are the 16 mistakes in which the wrong digit has the highest probability. Above each image is the true digit,
# then the predicted digit with its probability.

# %%
predicted = probabilities.argmax(axis=1)
confidence = probabilities.max(axis=1)
wrong = np.flatnonzero(predicted != test.y)
surest = wrong[np.argsort(-confidence[wrong])][:16]
print(len(wrong), "of", len(test), "images are not recognised")
show_images(test.X[surest], [f"{test.y[i]}, not {predicted[i]}\n{confidence[i]:.3f}" for i in surest])

# %% [markdown]
# Some of these images are hard for people, too, but not all of them. The network gives a wrong digit a probability of
# nearly 1. Are its probabilities too high? Call the probability of the predicted digit the **confidence**. If the
# probabilities were right, the mean confidence would be equal to the accuracy:

# %%
print(f"mean confidence: {confidence.mean():.3f}; accuracy: {np.mean(predicted == test.y):.3f}")
print(f"mean confidence in the mistakes: {confidence[wrong].mean():.3f}")

# %% [markdown]
# The mean confidence is higher than the accuracy: the probabilities are a little too high. For the images that the
# network gets wrong, the confidence is lower, 0.796 on average. Exercise 5 makes use of this.
#
# ## What has the first layer learned?
#
# A unit of the first layer has one weight for each pixel. Its weights can be drawn as an image, here for the first 36
# of the 128 units. Where the weight is blue, a black pixel increases the output of the unit. Where it is red, a black
# pixel decreases it.

# %%
plot_weights(network, image_shape=train.image_shape, max_units=36)

# %% [markdown]
# Some units have large weights along a stroke: their output depends on a part of a digit. At the border, the pixels are
# white in almost all images, so that these weights are hardly changed by the training, and are still the small random
# numbers of the start. One unit, the 31st, looks like this everywhere. What does it contribute?

# %%
first = network.layers[0]
is_active = train.X @ first.weights + first.biases > 0
print("units that are 0 for all training images:", np.flatnonzero(~is_active.any(axis=0)) + 1)

# %% [markdown]
# The output of such a unit is 0 for all images, because its sum $z$ is never positive. Then the gradient of ReLU is 0,
# too, and its weights never change again: it is a **dead unit**. In this network, 9 of the 128 units are dead, and
# could be removed.
#
# ## Save and load
#
# `save` writes the network to a file: the layers, all weights, the settings and the history. The loaded network makes the
# same predictions.

# %%
network.save("mnist.safetensors")
loaded = NeuralNetwork.load("mnist.safetensors")
assert np.array_equal(loaded.predict(test), probabilities)
print("predicted:", loaded.predict_labels(test.X[:10]), "true:", test.y[:10])

# %% [markdown]
# ## What you have learned
#
# - For more than two classes, a network has one output per class, the softmax, and the cross-entropy loss.
# - The validation set shows during the training how good the network is on new images. The test set is used once, at the
#   end.
# - One run is not a result: train with several seeds, and report the mean and the standard deviation.
# - Look at the mistakes: the confusion matrix and the images tell more than the accuracy.
#
# ## Exercises
#
# 1. How many parameters does a network with 784 inputs, 256 hidden units and 10 outputs have? Calculate it by hand,
#    then let the library count.
# 2. Train with the learning rates 0.1 and 0.00001. What happens to the loss, and why?
# 3. Some pixels are white in all training images. How many? What do their weights look like after the training?
# 4. Replace ReLU by the sigmoid and by tanh (`SimpleMLP(activation="tanh")`). Compare over several seeds.
# 5. A post office sorts letters by the digits that the network reads, and people read those for which its confidence is
#    below a threshold. Which share of the images must people read so that at most 1 in 500 of the others is wrong?
#    Choose the threshold on the validation set, and check it on the test set.
#
# `chainrule labs mnist --solution` copies the solutions.
